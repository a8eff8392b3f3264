package engine

import (
	"reflect"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// copyState gives a state that shares with s nothing that Apply changes: the maps, and what they and the pointers in
// them lead to. What only authority can see (unexported members) is shared, and so is what an event brought: Apply
// replaces that and does not change it.
func copyState(s *authority.State) *authority.State {
	return copyValue(reflect.ValueOf(s)).Interface().(*authority.State)
}

// events is the package of what entries say.
var events = reflect.TypeFor[remit.Event]().PkgPath()

func copyValue(v reflect.Value) reflect.Value {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if plain(v.Type()) || t.Kind() == reflect.Struct && t.PkgPath() == events {
		return v
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(copyValue(v.Elem()))
		return out
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		same := plain(v.Type().Elem())
		for it := v.MapRange(); it.Next(); {
			value := it.Value()
			if !same {
				value = copyValue(value)
			}
			out.SetMapIndex(it.Key(), value)
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(out, v)
		if !plain(v.Type().Elem()) {
			for i := range v.Len() {
				out.Index(i).Set(copyValue(v.Index(i)))
			}
		}
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if f := out.Field(i); f.CanSet() && !plain(f.Type()) {
				f.Set(copyValue(f))
			}
		}
		return out
	}
	panic("engine: a state has no member of type " + v.Type().String())
}

// plain tells whether a value of type t leads nowhere: to assign it is to copy it.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.Func, reflect.Chan:
		return false
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
	}
	return true
}
