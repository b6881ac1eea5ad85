"""OpenGL through moderngl: what context this machine gives. Nothing else imports moderngl."""
