package bench

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
)

// tick is the unit of CPU time in /proc: USER_HZ, which is 100 on every Linux
// that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is what a process has used so far, in user and kernel mode.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, messages.Errorf(messages.CodeUnavailable, "CPU time of process %d: %w", pid, err)
	}
	// The second field is the name in parentheses and may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const user, kernel = 11, 12 // fields 14 and 15, the first of these being the third
	if len(fields) <= kernel {
		return 0, messages.Errorf(messages.CodeInternal, "/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, i := range []int{user, kernel} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, messages.Errorf(messages.CodeInternal, "/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// residentBytes is the memory that a process has resident.
func residentBytes(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, messages.Errorf(messages.CodeUnavailable, "memory of process %d: %w", pid, err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return 0, messages.Errorf(messages.CodeInternal, "/proc/%d/statm: %w", pid, err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// Machine is where a run took place.
type Machine struct {
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	Memory int64  `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// thisMachine leaves out what cannot be found out.
func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), CPU: "unknown", Go: runtime.Version()}
	cpu, _ := os.ReadFile("/proc/cpuinfo") //nolint:errcheck // empty then
	for line := range strings.Lines(string(cpu)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	memory, _ := os.ReadFile("/proc/meminfo") //nolint:errcheck // likewise
	for line := range strings.Lines(string(memory)) {
		var kilobytes int64
		if n, _ := fmt.Sscanf(line, "MemTotal: %d kB", &kilobytes); n == 1 { //nolint:errcheck // n tells
			m.Memory = kilobytes << 10
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") //nolint:errcheck // likewise
	m.Kernel = strings.TrimSpace(string(kernel))
	return m
}
