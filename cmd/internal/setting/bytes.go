package setting

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteUnits are the units of sizes, those that end in another one first.
var byteUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// bytes is a size of at least least bytes.
func (c *Catalogue) bytes(name, preset string, least int64, usage string) Setting[int64] {
	return list(c, spec{name: name, preset: preset, unit: "size", usage: usage},
		func(text string) (int64, error) {
			size, err := parseBytes(text)
			if err != nil {
				return 0, err
			}
			if size < least {
				return 0, fmt.Errorf("want %s or more", formatBytes(least))
			}
			return size, nil
		})
}

func parseBytes(text string) (int64, error) {
	for _, unit := range byteUnits {
		number, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if size := n * float64(unit.bytes); err == nil && size >= 0 && size < math.MaxInt64 {
			return int64(size), nil
		}
		break
	}
	return 0, errors.New("want a size with its unit, such as 512MiB, 1GiB or 2GB")
}

// formatBytes is size in the largest unit of which it is a whole number.
func formatBytes(size int64) string {
	text := strconv.FormatInt(size, 10) + "B"
	for _, unit := range byteUnits[:4] {
		if size >= unit.bytes && size%unit.bytes == 0 {
			text = strconv.FormatInt(size/unit.bytes, 10) + unit.name
		}
	}
	return text
}
