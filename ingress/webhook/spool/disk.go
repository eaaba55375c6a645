package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// disk is where a spool keeps its files. There is one besides tests, which make it
// fail.
type disk interface {
	open(path string, flag int) (file, error)
	remove(path string) error
	rename(from, to string) error
	syncDir(dir string) error // makes created, removed and renamed entries durable
}

// file is one file of a disk.
type file interface {
	io.ReaderAt
	io.Writer
	Sync() error
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
	Close() error
}

type osDisk struct{}

func (osDisk) open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err // not f: an interface that holds a nil pointer is not nil
	}
	return f, nil
}

func (osDisk) remove(path string) error { return os.Remove(path) }

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes a directory, and durable the entries of what it had to make.
func makeDir(d disk, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	var made []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, m := range made {
		if err := d.syncDir(filepath.Dir(m)); err != nil {
			return err
		}
	}
	return nil
}
