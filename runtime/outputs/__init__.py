"""Where results go: JSON lines, a command, MQTT."""
