"""Put compression on a model or processor, and take it off again."""
