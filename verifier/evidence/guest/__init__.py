"""What guests, clouds, name servers and KMSs answer."""
