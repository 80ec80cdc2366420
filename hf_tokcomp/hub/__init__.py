"""Files by name, on the Hub and beside us: ids, errors, one commit. Nothing here knows of compression."""
