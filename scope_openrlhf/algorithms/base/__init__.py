"""What algorithms share: the contract (contract.py), and one file for each family of them."""
