package api

import (
	"net/http"
	"slices"

	"myriad/program"
)

// statuses pairs each kind of problem with the HTTP status that stands for it.
var statuses = []struct {
	kind   program.Kind
	status int
}{
	{program.KindInternal, http.StatusInternalServerError},
	{program.KindInvalid, http.StatusBadRequest},
	{program.KindNotFound, http.StatusNotFound},
	{program.KindConflict, http.StatusConflict},
	{program.KindUnsupported, http.StatusNotImplemented},
	{program.KindExhausted, http.StatusInsufficientStorage},
	{program.KindUnavailable, http.StatusServiceUnavailable},
	{program.KindPermission, http.StatusForbidden},
}

// StatusOf is the HTTP status of an answer about a problem of kind k.
func StatusOf(k program.Kind) int {
	for _, s := range statuses {
		if s.kind == k {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// KindOf is the kind of problem that an HTTP status stands for.
func KindOf(status int) program.Kind {
	for _, s := range statuses {
		if s.status == status {
			return s.kind
		}
	}
	invalid := []int{http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	if slices.Contains(invalid, status) {
		return program.KindInvalid
	}
	return program.KindInternal
}
