package role

import (
	"context"
	"os"
	"slices"
	"time"
)

// fileContent is a file as it was read.
type fileContent struct {
	path, text string
	err        error // why it could not be
}

func readFiles(paths []string) []fileContent {
	contents := make([]fileContent, len(paths))
	for i, path := range paths {
		text, err := os.ReadFile(path)
		contents[i] = fileContent{path: path, text: string(text), err: err}
	}
	return contents
}

func (c fileContent) equal(other fileContent) bool {
	return c.text == other.text && (c.err == nil) == (other.err == nil)
}

// fileWatch follows files by their content. To read a few of them costs next to
// nothing, and unlike notifications and time stamps their content survives every way
// of saving one: another name moved there, a link that points elsewhere.
type fileWatch struct {
	paths []string
	every time.Duration // between two looks
	seen  []fileContent // what is in use, in the order of paths; nil: not known
}

// run calls use with what all the files hold, whenever that has changed, until ctx
// ends. A change counts once two looks have found it, so that half a file is not
// taken for a whole one. When use returns false it is called again after the next
// look; otherwise what it was given counts as seen, also when it was wrong.
func (w fileWatch) run(ctx context.Context, use func(now []fileContent) bool) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	last := w.seen
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := readFiles(w.paths)
		settled := slices.EqualFunc(now, last, fileContent.equal)
		last = now
		if settled && !slices.EqualFunc(now, w.seen, fileContent.equal) && use(now) {
			w.seen = now
		}
	}
}
