package remit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of what a provider says of how somebody signed in, and of what is asked of that.
const (
	MaxClasses  = 8   // in a StepUp, and methods in a SignedIn
	MaxClass    = 128 // bytes of a class
	MaxMethod   = 32  // bytes of a method
	longestAged = 24 * time.Hour
)

// SignedIn is how a voter was signed in when they voted. It adds to what their key proves, and takes nothing from it.
type SignedIn struct {
	Method   string   `json:"method,omitempty" cbor:"1,keyasint,omitempty"`   // key, passkey, provider, device
	Provider string   `json:"provider,omitempty" cbor:"2,keyasint,omitempty"` // its declared name
	ACR      string   `json:"acr,omitempty" cbor:"3,keyasint,omitempty"`      // authentication context class, OpenID Connect Core §2
	AMR      []string `json:"amr,omitempty" cbor:"4,keyasint,omitempty"`      // authentication methods, RFC 8176
	// Age is how long before the vote they proved to be there, in seconds counted up, at least 1; 0: nobody said.
	Age int64 `json:"age,omitempty" cbor:"5,keyasint,omitempty"`
}

// IsZero tells whether nothing is known of how somebody was signed in.
func (s SignedIn) IsZero() bool {
	return s.Method == "" && s.Provider == "" && s.ACR == "" && len(s.AMR) == 0 && s.Age == 0
}

// Check tells what is wrong with s: it becomes part of a leaf, which holds names and codes only.
func (s SignedIn) Check() error {
	switch {
	case !isClass(s.Method, MaxMethod), !isClass(s.Provider, MaxMethod), !isClass(s.ACR, MaxClass):
		return fmt.Errorf("method, provider and acr are codes of at most %d bytes", MaxClass)
	case len(s.AMR) > MaxClasses, slices.ContainsFunc(s.AMR, func(m string) bool { return m == "" || !isClass(m, MaxMethod) }):
		return fmt.Errorf("amr has at most %d codes of at most %d bytes", MaxClasses, MaxMethod)
	case s.Age < 0:
		return fmt.Errorf("a proof is not of the future")
	}
	return nil
}

// Plain is s without what is no code: what a provider says may be anything, even somebody's address.
func (s SignedIn) Plain() SignedIn {
	if !isClass(s.ACR, MaxClass) {
		s.ACR = ""
	}
	var methods []string
	for _, m := range s.AMR {
		if m != "" && isClass(m, MaxMethod) && len(methods) < MaxClasses {
			methods = append(methods, m)
		}
	}
	s.AMR = methods
	return s
}

// String is s in words; empty where nothing is known.
func (s SignedIn) String() string {
	if s.IsZero() {
		return ""
	}
	parts := []string{strings.TrimSpace("by " + s.Method + " " + s.Provider)}
	if s.ACR != "" {
		parts = append(parts, "acr "+s.ACR)
	}
	if len(s.AMR) > 0 {
		parts = append(parts, "amr "+strings.Join(s.AMR, " "))
	}
	if s.Age > 0 {
		parts = append(parts, (time.Duration(s.Age)*time.Second).String()+" before")
	}
	return strings.Join(parts, ", ")
}

// isClass tells whether s is a code or an address of one: what classes and methods of authentication look like. It may be
// empty.
func isClass(s string, most int) bool {
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(":/._~+#-", r)
	})
}

// StepUp is how whoever votes must be signed in, beside the key that they sign with (RFC 9470).
type StepUp struct {
	ACR    []string `json:"acr,omitempty" cbor:"1,keyasint,omitempty"`     // one of these classes; none: any
	MaxAge string   `json:"max_age,omitempty" cbor:"2,keyasint,omitempty"` // of the proof, such as 10m
}

// IsZero tells whether nothing is asked for.
func (u StepUp) IsZero() bool { return len(u.ACR) == 0 && u.MaxAge == "" }

// Equal tells whether u and o are the same.
func (u StepUp) Equal(o StepUp) bool { return slices.Equal(u.ACR, o.ACR) && u.MaxAge == o.MaxAge }

// Age is MaxAge as a duration; zero: any age.
func (u StepUp) Age() time.Duration {
	d, err := time.ParseDuration(u.MaxAge)
	if err != nil {
		return 0 // Check has refused it
	}
	return d
}

// Check tells what is wrong with u.
func (u StepUp) Check() error {
	if len(u.ACR) > MaxClasses {
		return fmt.Errorf("acr has at most %d classes", MaxClasses)
	}
	for i, c := range u.ACR {
		if c == "" || !isClass(c, MaxClass) || slices.Contains(u.ACR[:i], c) {
			return fmt.Errorf("acr %d, %.64q: a class stands once, and has at most %d of a-z A-Z 0-9 : / . _ ~ + # -", i, c, MaxClass)
		}
	}
	if u.MaxAge == "" {
		return nil
	}
	if d, err := time.ParseDuration(u.MaxAge); err != nil || d < time.Minute || d > longestAged || d%time.Second != 0 {
		return fmt.Errorf("max_age is 1m to %s, such as 10m", longestAged)
	}
	return nil
}

// Met tells whether somebody who was signed in like s may vote where u is asked for. What nobody said is not enough.
func (u StepUp) Met(s SignedIn) bool {
	if len(u.ACR) > 0 && !slices.Contains(u.ACR, s.ACR) {
		return false
	}
	return u.MaxAge == "" || s.Age > 0 && s.Age <= int64(u.Age()/time.Second)
}

// AtLeast tells whether everybody who meets u meets o.
func (u StepUp) AtLeast(o StepUp) bool {
	classes := len(o.ACR) == 0 || len(u.ACR) > 0 && !slices.ContainsFunc(u.ACR, func(c string) bool { return !slices.Contains(o.ACR, c) })
	return classes && (o.MaxAge == "" || u.MaxAge != "" && u.Age() <= o.Age())
}

// And is what is asked for where u and o are; ok is false where no one class is both.
func (u StepUp) And(o StepUp) (both StepUp, ok bool) {
	both = u
	if u.MaxAge == "" || o.MaxAge != "" && o.Age() < u.Age() {
		both.MaxAge = o.MaxAge
	}
	switch {
	case len(u.ACR) == 0:
		both.ACR = o.ACR
	case len(o.ACR) > 0:
		both.ACR = slices.DeleteFunc(slices.Clone(u.ACR), func(c string) bool { return !slices.Contains(o.ACR, c) })
		return both, len(both.ACR) > 0
	}
	return both, true
}

// String is u in words; empty where nothing is asked for.
func (u StepUp) String() string {
	var parts []string
	if len(u.ACR) > 0 {
		parts = append(parts, "signed in as "+strings.Join(u.ACR, " or "))
	}
	if u.MaxAge != "" {
		parts = append(parts, "proved within "+u.MaxAge)
	}
	return strings.Join(parts, ", ")
}

// Insufficient is the cause of an error: whoever asked is known, and has to sign in otherwise, or anew (RFC 9470 §3).
type Insufficient struct{ StepUp }

func (i *Insufficient) Error() string { return "insufficient_user_authentication: " + i.String() }

// Challenge is i as a WWW-Authenticate header says it. Both values are of a safe alphabet.
func (i *Insufficient) Challenge() string {
	text := `Bearer error="insufficient_user_authentication"`
	if len(i.ACR) > 0 {
		text += `, acr_values="` + strings.Join(i.ACR, " ") + `"`
	}
	if age := i.Age(); age > 0 {
		text += fmt.Sprintf(`, max_age="%d"`, int64(age/time.Second))
	}
	return text
}

// Equal tells whether n and o are the same line of a quorum.
func (n Need) Equal(o Need) bool {
	return n.Group == o.Group && n.N == o.N && n.Evidence == o.Evidence && n.InProduction == o.InProduction && n.StepUp.Equal(o.StepUp)
}

// String is n in words.
func (n Need) String() string {
	text := fmt.Sprintf("%d of %s", n.N, n.Group)
	if !n.StepUp.IsZero() {
		text += " (" + n.StepUp.String() + ")"
	}
	return text
}
