package remit

// SecretValue puts a value into the sealed store. It is the only place of the API in which a value stands.
type SecretValue struct {
	Name  string `json:"name"`
	Value []byte `json:"value"` // at most 32 KiB
}

// SecretName names a secret.
type SecretName struct {
	Name string `json:"name"`
}

// SecretView is a declared secret as people see it: never its value.
type SecretView struct {
	Name      string `json:"name"`
	Zone      Zone   `json:"zone"`
	Approvers []Need `json:"approvers,omitempty"`
	Version   int    `json:"version,omitempty"` // of the last value
	Stored    bool   `json:"stored"`
	By        string `json:"by,omitempty"` // who put or removed it last
}
