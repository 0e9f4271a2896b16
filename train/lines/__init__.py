"""The line reader: lines composed of digits, its network, its training and its artifacts."""
