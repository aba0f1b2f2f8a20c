// smd-extract turns the tests of structured-merge-diff into data.
//
// It copies the module to a temporary folder, puts a recorder in front of the functions that the tests judge, runs the
// module's own tests once, and writes every distinct call with its inputs and its result as one line of JSON. Nothing of
// the module's text ends up in the output. Run it in this folder:
//
//	go run . -o ../tests/data/smd
package main

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

const module, version = "sigs.k8s.io/structured-merge-diff/v6", "v6.3.2"

//go:embed hooks
var hooks embed.FS

// renamed functions, by file: the hook of each package has the recording ones instead.
var renamed = map[string][]string{
	"typed/typed.go":            {"AsTyped(", "(tv TypedValue) Merge(", "(tv TypedValue) Compare(", "(tv TypedValue) ToFieldSet(", "(tv TypedValue) RemoveItems(", "(tv TypedValue) ExtractItems("},
	"typed/reconcile_schema.go": {"ReconcileFieldSetWithSchema("},
	"fieldpath/set.go": {"(s *Set) Union(", "(s *Set) Intersection(", "(s *Set) Difference(", "(s *Set) RecursiveDifference(",
		"(s *Set) EnsureNamedFieldsAreMembers(", "(s *Set) Leaves(", "(s *Set) FilterIncludeMatches("},
	"fieldpath/serialize.go":    {"(s *Set) FromJSON("},
	"fieldpath/serialize-pe.go": {"DeserializePathElement("},
	"fieldpath/path.go":         {"(fp Path) String("},
	"fieldpath/element.go":      {"(e PathElement) Compare("},
	"value/value.go":            {"Compare(", "Equals("},
	"merge/update.go":           {"(s *Updater) Update(", "(s *Updater) Apply("},
	"merge/conflict.go":         {"(conflicts Conflicts) Error("},
}

// The packages whose tests are run, and which kind of calls is recorded meanwhile.
var levels = []string{"value", "fieldpath", "typed", "merge"}

func main() {
	log.SetFlags(0)
	out := flag.String("o", "", "folder for the data")
	flag.Parse()
	if *out == "" {
		log.Fatal("say where to put the data: -o FOLDER")
	}
	work, err := os.MkdirTemp("", "smd-extract")
	check(err)
	defer os.RemoveAll(work)
	check(os.CopyFS(work, os.DirFS(download())))
	check(filepath.WalkDir(work, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o755)
	}))
	for file, functions := range renamed {
		rename(filepath.Join(work, file), functions)
	}
	for _, name := range append([]string{"sink"}, levels...) {
		text, err := hooks.ReadFile("hooks/" + name + ".go.txt")
		check(err)
		check(os.MkdirAll(filepath.Join(work, name), 0o755))
		check(os.WriteFile(filepath.Join(work, name, "zz_record.go"), text, 0o644))
	}
	for _, level := range levels {
		calls := filepath.Join(work, level+".calls")
		test := exec.Command("go", "test", "-count=1", "./"+level)
		test.Dir = work
		test.Env = append(os.Environ(), "RECORD_LEVEL="+level, "RECORD_TO="+calls, "GOFLAGS=-mod=mod")
		test.Stdout, test.Stderr = os.Stderr, os.Stderr
		check(test.Run())
		reduce(calls, filepath.Join(*out, level+".jsonl"))
	}
}

func download() string {
	command := exec.Command("go", "mod", "download", "-json", module+"@"+version)
	output, err := command.Output()
	check(err)
	var answer struct{ Dir string }
	check(json.Unmarshal(output, &answer))
	return answer.Dir
}

// rename puts "unrecorded" before the names of functions where they are declared.
func rename(file string, functions []string) {
	text, err := os.ReadFile(file)
	check(err)
	name := regexp.MustCompile(`(\w+)\($`)
	for _, function := range functions {
		before := []byte("func " + function)
		after := []byte("func " + name.ReplaceAllString(function, "unrecorded$1("))
		if bytes.Count(text, before) != 1 {
			log.Fatalf("%s has no single %s", file, before)
		}
		text = bytes.Replace(text, before, after, 1)
	}
	check(os.WriteFile(file, text, 0o644))
}

// reduce writes each distinct call once. Schemas go to the front, each once, and calls name them.
func reduce(from, to string) {
	file, err := os.Open(from)
	check(err)
	defer file.Close()
	reader := bufio.NewReader(file)
	seen, schemas := map[string]bool{}, map[string]string{}
	perOp := map[string]int{}
	most, longest := 1500, 40_000
	if filepath.Base(to) == "fieldpath.jsonl" {
		// Random sets, built step by step, would fill the file.
		most, longest = 150, 4_000
	}
	var calls []string
	for {
		line, err := reader.ReadString('\n')
		if err == io.EOF {
			break
		}
		check(err)
		var call map[string]json.RawMessage
		check(json.Unmarshal([]byte(line), &call))
		if schema, ok := call["schema"]; ok {
			id, known := schemas[string(schema)]
			if !known {
				id = fmt.Sprintf("s%d", len(schemas))
				schemas[string(schema)] = id
			}
			call["schema"], err = json.Marshal(id)
			check(err)
		}
		where := call["where"]
		delete(call, "where")
		key, err := json.Marshal(call)
		check(err)
		op := string(call["op"])
		if seen[string(key)] || perOp[op] >= most || len(key) > longest {
			continue
		}
		seen[string(key)] = true
		perOp[op]++
		call["where"] = where
		text, err := json.Marshal(call)
		check(err)
		calls = append(calls, string(text))
	}
	var lines []string
	for schema, id := range schemas {
		lines = append(lines, fmt.Sprintf(`{"op":"schema","id":%q,"schema":%s}`, id, schema))
	}
	sort.Strings(lines)
	check(os.MkdirAll(filepath.Dir(to), 0o755))
	check(os.WriteFile(to, []byte(strings.Join(append(lines, calls...), "\n")+"\n"), 0o644))
	log.Printf("%s: %d schemas, %d calls %v", to, len(schemas), len(calls), perOp)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
