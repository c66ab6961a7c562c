"""`make proof`: which test shows which claim, and that the tests would notice a bug in the heart."""
