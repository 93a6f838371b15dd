"""Who somebody is: sessions, and whose turn it is for the work that passwords cost."""
