"""What only training with photographs needs: the variation of light, and negatives.

`train.fit` varies the light of each batch; `train.run` makes the negatives.
"""
