"""What Clarion does, whoever asks: the steps of a request shared by the HTTP gateway and the workers."""
