"""Who is calling, from where, and how often they were wrong: `Principal`, `Guard`, `Attempts`, `Trusted`."""
