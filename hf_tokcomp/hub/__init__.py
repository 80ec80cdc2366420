"""Files on the Hub and on disk: ids, errors, atomic writing. Nothing here depends on compression."""
