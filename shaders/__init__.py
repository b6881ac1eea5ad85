"""GLSL kernels, one file each; the glsl backend assembles them. Installed as tensorgl.shaders."""
