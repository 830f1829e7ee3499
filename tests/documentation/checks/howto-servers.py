import signal

assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
