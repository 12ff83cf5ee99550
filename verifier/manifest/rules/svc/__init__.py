"""SVC: what a service may do, and what it runs."""
