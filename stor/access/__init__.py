"""Who is calling, what they may do, and how often: `Guard`, `Credentials`, `Principal`, `Gauge`, `Audit`."""
