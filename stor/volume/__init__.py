"""The JuiceFS volume; now its beginning: `Bootstrap` formats it, `BootstrapApi` offers that over HTTP."""
