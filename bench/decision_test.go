package bench

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// judge is a decision point behind HTTPS, in a process of its own.
type judge struct {
	addr     string
	pid      int
	roots    *x509.CertPool
	requests [][]byte
	yes      string // how an allow reads
}

// load has clients ask, each on a connection of its own and one question at a time, for some time. It gives answers per
// second, the 99th percentile of the waiting time, and the processor time that the judge took for one.
func (j *judge) load(b *testing.B, clients int, during time.Duration) (rate float64, p99, cpu time.Duration) {
	b.Helper()
	waits, errs := make([][]time.Duration, clients), make([]error, clients)
	before, start := processCPU(b, j.pid), time.Now()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() { waits[c], errs[c] = j.ask(c, start.Add(during)) })
	}
	all.Wait()
	took := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	every := slices.Concat(waits...)
	slices.Sort(every)
	n := len(every)
	return float64(n) / took.Seconds(), every[n*99/100], (processCPU(b, j.pid) - before) / time.Duration(n)
}

func (j *judge) ask(from int, end time.Time) (waits []time.Duration, err error) {
	host, _, _ := net.SplitHostPort(j.addr)
	conn, err := tls.Dial("tcp", j.addr, &tls.Config{RootCAs: j.roots, ServerName: host})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for n := from; time.Now().Before(end); n++ {
		asked := time.Now()
		if _, err := conn.Write(j.requests[n%len(j.requests)]); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), j.yes) {
			return nil, fmt.Errorf("status %d, %v: %.300s", resp.StatusCode, err, body)
		}
		waits = append(waits, time.Since(asked))
	}
	return waits, nil
}

// processCPU is the processor time that a process took so far (proc(5)).
func processCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Skip("there is no /proc here: ", err)
	}
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// newOPA starts the OPA server in $REMIT_OPA on the facts that Remit has of these tasks.
func newOPA(b *testing.B, tasks int) *judge {
	b.Helper()
	program := os.Getenv("REMIT_OPA")
	if program == "" {
		b.Skip("REMIT_OPA is not set, so there is nothing to compare with: REMIT_OPA=$(tools/real/build opa) ./test bench")
	}
	dir := b.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	files := map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}
	if files["data.json"], err = json.Marshal(opaFacts(tasks)); err != nil {
		b.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	j := &judge{addr: freePort(b), roots: x509.NewCertPool(), yes: `"allow":true`}
	j.roots.AppendCertsFromPEM(files["cert.pem"])
	server := exec.Command(program, "run", "--server", "--addr", "https://"+j.addr, "--tls-cert-file", filepath.Join(dir, "cert.pem"),
		"--tls-private-key-file", filepath.Join(dir, "key.pem"), "--log-level", "error", "--disable-telemetry", "testdata/opa.rego", filepath.Join(dir, "data.json"))
	server.Stderr = b.Output()
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	j.pid = server.Process.Pid
	for i := range tasks {
		body := fmt.Sprintf(`{"input":{"subject":{"type":"instance","id":"I%d"},"action":{"name":"issue.comment"},"resource":{"type":"repo","id":"forge/payments"}}}`, i)
		j.requests = append(j.requests, fmt.Appendf(nil, "POST /v1/data/remit/decision HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", j.addr, len(body), body))
	}
	until(b, "OPA", func() error { _, err := j.ask(0, time.Now().Add(time.Millisecond)); return err })
	return j
}

// opaFacts is the state of an organisation with as many tasks, as data for the rules in testdata/opa.rego.
func opaFacts(tasks int) map[string]any {
	catalogue, zones, functionZones, functionStages := map[string]any{}, map[remit.Stage]remit.Zone{}, map[remit.Function][]remit.Zone{}, map[remit.Function][]remit.Stage{}
	for _, c := range remit.Catalogue() {
		catalogue[string(c.Action)] = c
		zones[c.Stage] = c.Stage.Zone()
	}
	for _, f := range []remit.Function{remit.FuncPlan, remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncRelease, remit.FuncDeploy, remit.FuncOperate} {
		functionZones[f], functionStages[f] = remit.FunctionZones(f), remit.FunctionStages(f)
	}
	scope := []remit.Scope{{Actions: []remit.Action{"issue.comment", "issue.read"}, Resources: []remit.Pattern{"repo:forge/*"}}}
	instances, works := map[string]any{}, map[string]any{}
	for i := range tasks {
		task := fmt.Sprintf("T%d", i)
		instances[fmt.Sprintf("I%d", i)] = map[string]any{"task": task, "agent": "commenter", "launcher": "ana", "ended": false}
		works[task] = map[string]any{"state": "active", "agent": "commenter", "requester": "ana", "deadline": 2e9, "grant": scope, "used": 1, "open_holds": 0,
			"budget": map[string]int{"decisions": 10000, "holds": 3}}
	}
	return map[string]any{"now": 1_790_000_000, "catalogue": catalogue, "zones": zones, "function_zones": functionZones, "function_stages": functionStages,
		"instances": instances, "tasks": works, "boundaries": []any{}, "people": map[string]any{"ana": map[string]bool{"killed": false}},
		"agents": map[string]any{"commenter": map[string]any{"state": "active", "function": "code", "owner": "ana", "expires": 4e9, "entitlements": scope}}}
}

// BenchmarkAgainstOPA compares decisions over HTTPS, each durable and in the Merkle log before it is answered, with those
// of an OPA server that keeps no record, in alternating rounds of one run. With tenant=true, Remit evaluates a hundred
// lines of a team's own Rego for each as well.
func BenchmarkAgainstOPA(b *testing.B) {
	rounds, during, tasks := atMost(5, 1), atMost(time.Second, 100*time.Millisecond), 100
	for _, tenant := range []bool{false, true} {
		b.Run(fmt.Sprintf("tenant=%v", tenant), func(b *testing.B) {
			theirs := newOPA(b, tasks)
			d := commenters(b.TempDir())
			if tenant {
				text, err := os.ReadFile("testdata/tenant.rego")
				if err != nil {
					b.Fatal(err)
				}
				d.Policy = []remit.PolicyFile{{Name: "tenant.rego", Text: string(text)}}
			}
			h := newHouse(b, d, nil)
			h.start(tasks)
			ours := h.judge()
			for _, clients := range []int{1, 16, 128} {
				b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
					for b.Loop() {
						var rates, rate, p99, cpu []float64
						theirs.load(b, clients, during/4)
						ours.load(b, clients, during/4)
						for range rounds {
							r0, w0, c0 := theirs.load(b, clients, during)
							r1, w1, c1 := ours.load(b, clients, during)
							rates, rate = append(rates, r1), append(rate, r1/r0)
							p99, cpu = append(p99, float64(w1)/float64(w0)), append(cpu, float64(c1)/float64(c0))
						}
						b.ReportMetric(median(rates), "decisions/s")
						b.ReportMetric(median(rate), "ratio")
						b.ReportMetric(median(p99), "ratio-p99")
						b.ReportMetric(median(cpu), "ratio-cpu")
					}
				})
			}
		})
	}
}
