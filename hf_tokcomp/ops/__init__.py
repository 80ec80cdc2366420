"""The algebra of tokens: batches of them, maps from tokens to slots, ranking, similarity, merging, segments."""
