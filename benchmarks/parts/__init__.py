"""What is measured. Each part is a function from an open field to raw figures."""
