// Package ext is what Traefik's build without extensions has: nothing.
package ext

// HTTP has no fields.
type HTTP struct{}

// Router has no fields.
type Router struct{}

// DeepCopyInto copies nothing.
func (in *HTTP) DeepCopyInto(out *HTTP) {}

// DeepCopyInto copies nothing.
func (in *Router) DeepCopyInto(out *Router) {}
