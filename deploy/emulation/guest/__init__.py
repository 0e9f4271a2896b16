"""What runs on an emulated Pi, by its own Python; nothing here imports the rest of `deploy`."""
