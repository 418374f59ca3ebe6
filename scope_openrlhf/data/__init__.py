"""Problems: the rows of a dataset, and what is shown of them."""
