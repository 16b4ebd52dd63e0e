"""How many residual blocks the layers of a ResNet have. Known apart from the networks, which need torch."""

# In layer1..layer4, by depth (He et al. 2016, table 1).
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
