"""Tools that tell, find and move results and never decide one; no key of a result is of them."""
