"""Server: listens, accepts connections and drains."""
