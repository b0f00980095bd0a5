"""What Clarion does: the steps of a request, shared by the HTTP gateway and the workers."""
