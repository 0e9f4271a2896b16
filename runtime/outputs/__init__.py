"""Outputs of `digit-edge watch` and `camera`: JSON lines, a user's command, an MQTT broker."""
