"""How a scene is seen: pixels, roll, star, transmission, point spread function, Q and U."""
