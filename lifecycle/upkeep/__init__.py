"""What whoever runs a service does beside it: look whether all is well, back up, put back, and throw away."""
