package identity

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"
)

// processes is a /proc with the given parents.
func processes(parents map[int]int) fstest.MapFS {
	m := make(fstest.MapFS)
	for pid, parent := range parents {
		m[fmt.Sprintf("%d/status", pid)] = &fstest.MapFile{Data: fmt.Appendf(nil, "Name:\tsh\\nPPid:\t99\nState:\tS (sleeping)\nPid:\t%d\nPPid:\t%d\nUid:\t0\t0\t0\t0\n", pid, parent)}
	}
	return m
}

func TestDescendsFrom(t *testing.T) {
	tree := processes(map[int]int{1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 30: 31, 31: 30, 40: 0, 50: 51})
	deep := make(map[int]int)
	for i := 2; i < maxDepth+100; i++ {
		deep[i] = i - 1
	}
	broken := processes(map[int]int{1: 0})
	broken["60/status"] = &fstest.MapFile{Data: []byte("Name:\tsh\nPid:\t60\n")}
	broken["61/status"] = &fstest.MapFile{Data: []byte("PPid:\t1\nPPid:\t1\n")}
	broken["62/status"] = &fstest.MapFile{Data: []byte("PPid:\t-1\n")}
	for name, test := range map[string]struct {
		pid     int
		leaders map[int]bool
		proc    fs.FS
		want    bool
		fails   bool
	}{
		"a leader":                                 {10, map[int]bool{10: true}, tree, true, false},
		"a child of a leader":                      {11, map[int]bool{10: true}, tree, true, false},
		"a grandchild of one of two leaders":       {12, map[int]bool{20: true, 10: true}, tree, true, false},
		"a sibling of a leader":                    {20, map[int]bool{10: true}, tree, false, false},
		"the parent of a leader":                   {10, map[int]bool{11: true}, tree, false, false},
		"a number that is no longer a leader's":    {10, map[int]bool{10: false}, tree, false, false},
		"process 1":                                {1, map[int]bool{10: true}, tree, false, false},
		"a process that is gone":                   {77, map[int]bool{10: true}, tree, false, true},
		"a process whose parent is gone":           {50, map[int]bool{10: true}, tree, false, true},
		"a process of another pid namespace":       {0, map[int]bool{10: true}, tree, false, true},
		"a process whose parent is in another one": {40, map[int]bool{10: true}, tree, false, true},
		"processes that are each other's parents":  {30, map[int]bool{10: true}, tree, false, true},
		"a tree that is deeper than anybody needs": {maxDepth + 50, map[int]bool{1000000: true}, processes(deep), false, true},
		"a status without a PPid":                  {60, nil, broken, false, true},
		"a status with two PPids":                  {61, nil, broken, false, true},
		"a status with a negative PPid":            {62, nil, broken, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DescendsFrom(test.pid, test.leaders, test.proc)
			if got != test.want || (err != nil) != test.fails {
				t.Fatalf("%v, %v", got, err)
			}
		})
	}
}

func FuzzPPid(f *testing.F) {
	f.Add([]byte("Name:\tsh\nPid:\t10\nPPid:\t1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parsePPid(b); err == nil && n < 0 {
			t.Fatalf("process %d", n)
		}
	})
}
