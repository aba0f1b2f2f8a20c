// The judge behind tests/kubernetes.rs: reads cases (schema, objects, updates), asks Kubernetes' own code what it prunes,
// defaults and finds, and writes them back with the answers.
//
//	go mod tidy && go run . < ../tests/data/kubernetes.json > answers.json
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextval "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

type Case struct {
	Name    string               `json:"name,omitempty"`
	Schema  json.RawMessage      `json:"schema"`
	Objects []json.RawMessage    `json:"objects"`
	Updates [][2]json.RawMessage `json:"updates,omitempty"`
}
type Out struct {
	Unknown []string    `json:"unknown"`
	Pruned  interface{} `json:"pruned"`
	Filled  interface{} `json:"filled"`
	Errors  []string    `json:"errors"`
}
type CaseOut struct {
	Name         string          `json:"name,omitempty"`
	Schema       json.RawMessage `json:"schema"`
	Refused      []string        `json:"refused"`
	Objects      []interface{}   `json:"objects"`
	Wanted       []Out           `json:"wanted"`
	Updates      []interface{}   `json:"updates"`
	UpdateErrors [][]string      `json:"updateErrors"`
}

func texts(l field.ErrorList) []string {
	out := []string{}
	for _, e := range l {
		out = append(out, e.Error())
	}
	sort.Strings(out)
	return out
}
func decode(b []byte) map[string]interface{} {
	m := map[string]interface{}{}
	if err := utiljson.Unmarshal(b, &m); err != nil {
		panic(err)
	}
	return m
}

func check(s *structuralschema.Structural, sv validation.SchemaValidator, cv *cel.Validator, obj, old map[string]interface{}) field.ErrorList {
	var errs field.ErrorList
	var correlated *common.CorrelatedObject
	if old == nil {
		errs = append(errs, validation.ValidateCustomResource(nil, obj, sv)...)
	} else {
		correlated = common.NewCorrelatedObject(obj, old, &model.Structural{Structural: s})
		errs = append(errs, validation.ValidateCustomResourceUpdate(nil, obj, old, sv, validation.WithRatcheting(correlated))...)
	}
	errs = append(errs, objectmeta.Validate(nil, obj, s, false)...)
	l := listtype.ValidateListSetsAndMaps(nil, s, obj)
	if old == nil || len(listtype.ValidateListSetsAndMaps(nil, s, old)) == 0 {
		errs = append(errs, l...)
	}
	if cv != nil {
		block := false
		for _, e := range errs {
			switch e.Type {
			case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
				block = true
			}
		}
		if block {
			errs = append(errs, field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
		} else {
			var o interface{}
			if old != nil {
				o = old
			}
			var opts []cel.Option
			if old != nil {
				opts = append(opts, cel.WithRatcheting(correlated))
			}
			e, _ := cv.Validate(context.TODO(), nil, s, obj, o, celconfig.RuntimeCELCostBudget, opts...)
			errs = append(errs, e...)
		}
	}
	return errs
}

func main() {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	var outs []CaseOut
	for _, c := range cases {
		out := CaseOut{Name: c.Name, Schema: c.Schema, Refused: []string{}, Objects: []interface{}{}, Wanted: []Out{}, Updates: []interface{}{}, UpdateErrors: [][]string{}}
		var v1 apiextv1.JSONSchemaProps
		if err := json.Unmarshal(c.Schema, &v1); err != nil {
			fmt.Fprintln(os.Stderr, c.Name, err)
			continue
		}
		crd := apiextv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "things.x.example.com"}, Spec: apiextv1.CustomResourceDefinitionSpec{
			Group: "x.example.com", Scope: "Namespaced", Names: apiextv1.CustomResourceDefinitionNames{Plural: "things", Singular: "thing", Kind: "Thing", ListKind: "ThingList"},
			Versions: []apiextv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true, Schema: &apiextv1.CustomResourceValidation{OpenAPIV3Schema: &v1}}}}}
		apiextv1.SetDefaults_CustomResourceDefinition(&crd)
		apiextv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
		crd.Status.StoredVersions = []string{"v1"}
		var icrd apiextensions.CustomResourceDefinition
		if err := apiextv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&crd, &icrd, nil); err != nil {
			panic(err)
		}
		out.Refused = texts(apiextval.ValidateCustomResourceDefinition(context.TODO(), &icrd))
		if len(out.Refused) == 0 {
			var in apiextensions.JSONSchemaProps
			if err := apiextv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &in, nil); err != nil {
				panic(err)
			}
			s, err := structuralschema.NewStructural(&in)
			if err != nil {
				panic(err)
			}
			sv, _, err := validation.NewSchemaValidator(&in)
			if err != nil {
				panic(err)
			}
			cv := cel.NewValidator(s, true, celconfig.PerCallLimit)
			for _, o := range c.Objects {
				obj := decode(o)
				var r Out
				r.Unknown = pruning.PruneWithOptions(obj, s, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
				if r.Unknown == nil {
					r.Unknown = []string{}
				}
				defaulting.PruneNonNullableNullsWithoutDefaults(obj, s)
				b, _ := json.Marshal(obj)
				r.Pruned = json.RawMessage(b)
				defaulting.Default(obj, s)
				b, _ = json.Marshal(obj)
				r.Filled = json.RawMessage(b)
				r.Errors = texts(check(s, sv, cv, obj, nil))
				out.Objects = append(out.Objects, json.RawMessage(o))
				out.Wanted = append(out.Wanted, r)
			}
			for _, u := range c.Updates {
				out.Updates = append(out.Updates, u)
				var pair [2]map[string]interface{}
				for i := range pair {
					pair[i] = decode(u[i])
					pruning.PruneWithOptions(pair[i], s, true, structuralschema.UnknownFieldPathOptions{})
					defaulting.PruneNonNullableNullsWithoutDefaults(pair[i], s)
					defaulting.Default(pair[i], s)
				}
				out.UpdateErrors = append(out.UpdateErrors, texts(check(s, sv, cv, pair[1], pair[0])))
			}
		}
		outs = append(outs, out)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(outs); err != nil {
		panic(err)
	}
}
