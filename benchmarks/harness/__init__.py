"""What every benchmark needs: cases, subprocesses, machine, statistics."""
