"""How the runtime gets onto a Raspberry Pi: the installer, its services, and Pis to try them on."""
