"""Functions of the two notebooks: filters of the network, and digits that pupils photographed."""
