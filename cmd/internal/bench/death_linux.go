package bench

import "syscall"

// apart has the kernel kill a process when this one dies without ending it, and
// keeps the terminal's Ctrl-C from it: this process ends it, in order.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
