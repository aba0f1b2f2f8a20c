// managed-fields-extract runs histories of writes through Kubernetes' own field manager and writes what became of the
// object after each of them as lines of JSON. The histories are ours: some are told in histories.json, the rest is drawn
// from a fixed seed. Run it in this folder:
//
//	go run . -o ../../tests/data/managed_fields
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

const group, kind = "example.dev", "Machine"

var versions = []string{"v1", "v2"}

// Step is one write and what it gave.
type Step struct {
	Verb        string         `json:"verb"` // create, update, apply
	Manager     string         `json:"manager"`
	Version     string         `json:"version,omitempty"`
	Subresource string         `json:"subresource,omitempty"`
	Force       bool           `json:"force,omitempty"`
	Now         string         `json:"now"`
	Object      map[string]any `json:"object"`

	Error string         `json:"error,omitempty"`
	Out   map[string]any `json:"out,omitempty"`
}

// History is one object's life.
type History struct {
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

func main() {
	log.SetFlags(0)
	out := flag.String("o", "", "folder for the data")
	flag.Parse()
	if *out == "" {
		log.Fatal("say where to put the data: -o FOLDER")
	}
	machine := readFile("machine.json")
	var told []History
	check(json.Unmarshal(readFile("histories.json"), &told))
	managers := newManagers(machine)
	check(os.MkdirAll(*out, 0o755))
	file, err := os.Create(filepath.Join(*out, "histories.jsonl"))
	check(err)
	for _, history := range told {
		managers.run(&history, nil)
		write(file, history)
	}
	for number := range 40 {
		history := History{Name: fmt.Sprintf("drawn %d", number)}
		managers.run(&history, newDraw(int64(number)))
		write(file, history)
	}
	check(file.Close())
	check(os.WriteFile(filepath.Join(*out, "machine.json"), machine, 0o644))
}

type fieldManagers struct {
	of map[string]*managedfields.FieldManager
}

// newManagers makes a field manager for each version and subresource, as an API server does for a custom resource.
func newManagers(openapi []byte) fieldManagers {
	models := map[string]*spec.Schema{}
	for _, version := range versions {
		var model spec.Schema
		check(json.Unmarshal(openapi, &model))
		model.AddExtension("x-kubernetes-group-version-kind", []any{
			map[string]any{"group": group, "version": version, "kind": kind},
		})
		text := *spec.StringProperty()
		model.SetProperty("apiVersion", text)
		model.SetProperty("kind", text)
		model.SetProperty("metadata", *spec.RefSchema("#/definitions/ObjectMeta"))
		models[version] = &model
	}
	var meta spec.Schema
	check(json.Unmarshal(readFile("object_meta.json"), &meta))
	models["ObjectMeta"] = &meta
	types, err := managedfields.NewTypeConverter(models, false)
	check(err)
	managers := fieldManagers{of: map[string]*managedfields.FieldManager{}}
	for _, version := range versions {
		for subresource, reset := range map[string]string{"": "status", "status": "spec"} {
			gvk := schema.GroupVersionKind{Group: group, Version: version, Kind: kind}
			excluded := map[fieldpath.APIVersion]fieldpath.Filter{
				fieldpath.APIVersion(gvk.GroupVersion().String()): fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie(reset))),
			}
			manager, err := managedfields.NewDefaultCRDFieldManager(types, converter{}, defaulter{}, creater{}, gvk, gvk.GroupVersion(), subresource, excluded)
			check(err)
			managers.of[version+"/"+subresource] = manager
		}
	}
	return managers
}

func (m fieldManagers) run(history *History, draw *draw) {
	var live *unstructured.Unstructured
	count := len(history.Steps)
	if draw != nil {
		count = draw.length()
	}
	steps := make([]Step, 0, count)
	for number := range count {
		var step Step
		if draw != nil {
			step = draw.step(live)
		} else {
			step = history.Steps[number]
		}
		if step.Version == "" {
			step.Version = versions[0]
		}
		step.Now = fmt.Sprintf("2000-01-01T00:%02d:00Z", number)
		live = m.write(&step, live)
		steps = append(steps, step)
	}
	history.Steps = steps
}

// write does one step and gives the object that is stored afterwards.
func (m fieldManagers) write(step *Step, live *unstructured.Unstructured) *unstructured.Unstructured {
	manager := m.of[step.Version+"/"+step.Subresource]
	gv := schema.GroupVersion{Group: group, Version: step.Version}
	object := (&unstructured.Unstructured{Object: step.Object}).DeepCopy()
	before, _ := creater{}.New(gv.WithKind(kind))
	if live != nil {
		before = live.DeepCopy()
		before.(*unstructured.Unstructured).SetAPIVersion(gv.String())
	}
	var after runtime.Object
	var err error
	switch step.Verb {
	case "create", "update":
		after, err = manager.Update(before, object, step.Manager)
	case "apply":
		after, err = manager.Apply(before, object, step.Manager, step.Force)
	default:
		log.Fatalf("unknown verb %q", step.Verb)
	}
	if err != nil {
		step.Error = err.Error()
		return live
	}
	stored := after.(*unstructured.Unstructured)
	if stored.GetUID() == "" {
		stored.SetUID("a1b2")
	}
	settle(stored, step.Now)
	step.Out = stored.Object
	return stored
}

// settle puts the step's time in the place of the present.
func settle(object *unstructured.Unstructured, now string) {
	entries := object.GetManagedFields()
	at, err := time.Parse(time.RFC3339, now)
	check(err)
	for index := range entries {
		if entries[index].Time != nil && entries[index].Time.Year() > 2020 {
			entries[index].Time = &metav1.Time{Time: at}
		}
	}
	if entries != nil {
		object.SetManagedFields(entries)
	}
}

// converter says another version and changes nothing else, as conversion strategy None does.
type converter struct{}

func (converter) Convert(in, out, context any) error { return fmt.Errorf("not needed") }
func (converter) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", fmt.Errorf("not needed")
}
func (converter) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	gv, ok := to.(schema.GroupVersion)
	if !ok {
		return nil, fmt.Errorf("unexpected target %T", to)
	}
	if gv.Group != group || !strings.Contains(strings.Join(versions, " "), gv.Version) {
		return nil, runtime.NewNotRegisteredErrForTarget("machines", nil, gv)
	}
	out := in.(*unstructured.Unstructured)
	if out.GetAPIVersion() != gv.String() {
		out = out.DeepCopy()
		out.SetAPIVersion(gv.String())
	}
	return out, nil
}

type defaulter struct{}

func (defaulter) Default(runtime.Object) {}

type creater struct{}

func (creater) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(gvk)
	return object, nil
}

func write(file *os.File, history History) {
	text, err := json.Marshal(history)
	check(err)
	_, err = file.Write(append(text, '\n'))
	check(err)
}

func readFile(name string) []byte {
	text, err := os.ReadFile(name)
	check(err)
	return text
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
