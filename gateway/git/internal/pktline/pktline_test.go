package pktline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

var (
	oidA = strings.Repeat("a", 40)
	oidB = strings.Repeat("b", 40)
)

func lines(l ...string) string {
	var b []byte
	for _, s := range l {
		b = Append(b, s)
	}
	return string(AppendFlush(b))
}

func code(err error) remit.Code {
	var e *remit.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestPushCommands(t *testing.T) {
	update := oidA + " " + oidB + " refs/heads/x"
	many := make([]string, MaxCommands+1)
	for i := range many {
		many[i] = fmt.Sprintf("%s %s refs/heads/x%d", oidA, oidB, i)
	}
	for _, tt := range []struct {
		name string
		in   string
		want remit.Code
	}{
		{"one update with capabilities", lines(update+"\x00 report-status side-band-64k agent=git/2.39.5") + "PACK", ""},
		{"a line may end with a line feed", lines(update + "\n"), ""},
		{"the probe is empty", "0000", ""},
		{"shallow lines before the commands", lines("shallow "+oidA, update), ""},
		{"a shallow line behind a command", lines(update, "shallow "+oidA), remit.BadRequest},
		{"a shallow line without an id", lines("shallow xyz", update), remit.BadRequest},
		{"an upper-case id", lines(strings.ToUpper(oidA) + " " + oidB + " refs/heads/x"), remit.BadRequest},
		{"a short id", lines(oidA[1:] + " " + oidB + " refs/heads/x"), remit.BadRequest},
		{"ids of SHA-256", lines(oidA + oidA[:24] + " " + oidB + oidB[:24] + " refs/heads/x"), remit.BadRequest},
		{"object format SHA-256", lines(update + "\x00object-format=sha256"), remit.BadRequest},
		{"no ref", lines(oidA + " " + oidB + " "), remit.BadRequest},
		{"nothing changes", lines(oidA + " " + oidA + " refs/heads/x"), remit.BadRequest},
		{"the same ref twice", lines(update, update), remit.BadRef},
		{"the same ref but for case", lines(update, oidA+" "+oidB+" refs/heads/X"), remit.BadRef},
		{"NUL on the second line", lines(update, oidA+" "+oidB+" refs/heads/y\x00atomic"), remit.BadRequest},
		{"a capability that was not offered", lines(update + "\x00 report-status secret-sauce"), remit.BadRequest},
		{"push options", lines(update + "\x00 push-options"), remit.BadRequest},
		{"a push certificate", lines("push-cert\x00 report-status", "certificate version 0.1"), remit.BadRequest},
		{"a delimiter packet", "0001", remit.BadRequest},
		{"a response-end packet", "0002", remit.BadRequest},
		{"packet 0003", "0003", remit.BadRequest},
		{"an empty line", "0004", remit.BadRequest},
		{"a line above the limit", "fff1" + strings.Repeat("x", 65517), remit.BadRequest},
		{"a length that is not hexadecimal", "0x1f", remit.BadRequest},
		{"a negative length", "-001", remit.BadRequest},
		{"the end within a line", "00ff" + update, remit.BadRequest},
		{"the end before the flush packet", lines(update)[:len(lines(update))-4], remit.BadRequest},
		{"nothing at all", "", remit.BadRequest},
		{"fifty-one commands", lines(many...), remit.TooLargeToJudge},
		{"a mebibyte of shallow lines", strings.Repeat(string(Append(nil, "shallow "+oidA)), 25_000), remit.TooLargeToJudge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, rest, err := ReadPush(strings.NewReader(tt.in))
			if code(err) != tt.want || (err != nil) != (tt.want != "") {
				t.Fatalf("error %v; want code %q", err, tt.want)
			}
			if err != nil {
				return
			}
			tail, err := io.ReadAll(rest)
			if want := tt.in[strings.LastIndex(tt.in, "0000")+4:]; err != nil || string(tail) != want {
				t.Errorf("behind the commands comes %q, %v; want %q", tail, err, want)
			}
			if again := AppendPush(nil, p.Commands, []string{"atomic"}); len(p.Commands) > 0 {
				q, _, err := ReadPush(bytes.NewReader(again))
				if err != nil || !q.Atomic || fmt.Sprint(q.Commands) != fmt.Sprint(p.Commands) {
					t.Errorf("written and read again: %+v, %v", q, err)
				}
			}
		})
	}
}

func TestDeletesCarryNoPack(t *testing.T) {
	p, _, err := ReadPush(strings.NewReader(lines(oidA + " " + zeroOID + " refs/heads/x")))
	if err != nil || p.HasPack() || !p.Commands[0].Delete() {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAdvertIsRewritten(t *testing.T) {
	in := lines("# service=git-upload-pack\n") + lines(
		oidA+" HEAD\x00multi_ack thin-pack side-band ofs-delta symref=HEAD:refs/heads/main filter session-id=zz object-format=sha1 agent=git/9\n",
		oidA+" refs/heads/main\n", oidB+" refs/tags/v1\n", oidA+" refs/tags/v1^{}\n", oidB+" .have\n", "shallow "+oidA+"\n")
	a, err := ReadAdvert(strings.NewReader(in), "git-upload-pack")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteAdvert(&out, a, "remit/1"); err != nil {
		t.Fatal(err)
	}
	want := lines("# service=git-receive-pack\n") + lines(
		oidA+" refs/heads/main\x00report-status report-status-v2 side-band-64k quiet atomic ofs-delta delete-refs no-thin object-format=sha1 agent=remit/1\n",
		oidB+" refs/tags/v1\n")
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestAdvertOfAnEmptyRepository(t *testing.T) {
	in := lines("# service=git-upload-pack\n") + lines(zeroOID+" capabilities^{}\x00side-band-64k\n")
	a, err := ReadAdvert(strings.NewReader(in), "git-upload-pack")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteAdvert(&out, a, "remit/1"); err != nil || !strings.Contains(out.String(), zeroOID+" capabilities^{}\x00report-status ") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestAdvertThatIsNone(t *testing.T) {
	start := lines("# service=git-receive-pack\n")
	for name, in := range map[string]string{
		"a web page":      "<html>",
		"nothing":         "",
		"another service": lines("# service=git-upload-pack\n"),
		"cut short":       start + string(Append(nil, oidA+" refs/heads/x\x00report-status")),
		"a bad ref":       start + lines("zz refs/heads/x\x00report-status"),
		"sha256":          start + lines(oidA+" refs/heads/x\x00object-format=sha256"),
		"an error":        start + lines("ERR go away"),
	} {
		a, err := ReadAdvert(strings.NewReader(in), "git-receive-pack")
		for err == nil {
			_, err = a.Next()
		}
		if code(err) != remit.UpstreamDown {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReport(t *testing.T) {
	in := lines("unpack ok\n", "ok refs/heads/a\n", "option refname refs/heads/b\n", "ng refs/heads/c no such luck\n")
	rep, err := ReadReport(strings.NewReader(in))
	if err != nil || len(rep.Refs) != 2 || rep.Refs[1].Why != "no such luck" {
		t.Fatalf("%+v, %v", rep, err)
	}
	if got := string(rep.Append(nil, true)); got != in {
		t.Errorf("version 2: %q; want %q", got, in)
	}
	if got := string(rep.Append(nil, false)); strings.Contains(got, "option") {
		t.Errorf("version 1 has an option line: %q", got)
	}
	for _, bad := range []string{"", lines("hello"), lines("unpack ok", "option x y"), lines("unpack ok", "maybe refs/heads/x"), lines("unpack ok", "ok ")} {
		if _, err := ReadReport(strings.NewReader(bad)); code(err) != remit.UpstreamDown {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSideband(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	var s []byte
	s = AppendBand(s, BandProgress, []byte("counting\n"))
	s = AppendBand(s, BandData, data)
	s = AppendFlush(s)
	var said []byte
	d := &Demux{In: NewReader(bytes.NewReader(s)), Progress: func(b []byte) { said = append(said, b...) }}
	got, err := io.ReadAll(d)
	if err != nil || !bytes.Equal(got, data) || string(said) != "counting\n" {
		t.Errorf("%d bytes, %q, %v", len(got), said, err)
	}
	for _, bad := range [][]byte{nil, AppendBand(nil, BandError, []byte("no")), AppendBand(nil, 7, []byte("x")), Append(nil, ""), []byte("0001")} {
		if _, err := io.ReadAll(&Demux{In: NewReader(bytes.NewReader(bad))}); code(err) != remit.UpstreamDown {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadPush(f *testing.F) {
	f.Add(lines(oidA + " " + oidB + " refs/heads/x\x00 report-status"))
	f.Add(lines("shallow "+oidA, zeroOID+" "+oidB+" refs/tags/x"))
	f.Add("0000PACK")
	f.Fuzz(func(t *testing.T, in string) {
		p, rest, err := ReadPush(strings.NewReader(in))
		if err != nil || len(p.Commands) == 0 {
			return
		}
		tail, _ := io.ReadAll(rest)
		if !strings.HasSuffix(in, string(tail)) {
			t.Fatal("the rest is not the rest of the stream")
		}
		q, _, err := ReadPush(bytes.NewReader(AppendPush(nil, p.Commands, nil)))
		if err != nil || fmt.Sprint(q.Commands) != fmt.Sprint(p.Commands) {
			t.Fatalf("%+v is read back as %+v, %v", p, q, err)
		}
	})
}

func FuzzReadAdvert(f *testing.F) {
	f.Add(lines("# service=git-receive-pack\n") + lines(oidA+" refs/heads/main\x00report-status\n", oidB+" .have\n"))
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ReadAdvert(strings.NewReader(in), "git-receive-pack")
		if err != nil {
			return
		}
		var out bytes.Buffer
		if WriteAdvert(&out, a, "remit/1") != nil {
			return
		}
		b, err := ReadAdvert(&out, "git-receive-pack")
		for err == nil {
			_, err = b.Next()
		}
		if err != io.EOF || b.Has("push-options") {
			t.Fatalf("what was written is not read: %v", err)
		}
	})
}

func FuzzReadReport(f *testing.F) {
	f.Add(lines("unpack ok\n", "ok refs/heads/a\n", "option refname b\n", "ng refs/heads/c why\n"))
	f.Fuzz(func(t *testing.T, in string) {
		rep, err := ReadReport(strings.NewReader(in))
		if err != nil {
			return
		}
		again, err := ReadReport(bytes.NewReader(rep.Append(nil, true)))
		if err != nil || len(again.Refs) != len(rep.Refs) {
			t.Fatalf("%+v is read back as %+v, %v", rep, again, err)
		}
	})
}

func FuzzDemux(f *testing.F) {
	f.Add(AppendFlush(AppendBand(AppendBand(nil, BandProgress, []byte("x")), BandData, []byte("y"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, _ := io.ReadAll(&Demux{In: NewReader(bytes.NewReader(in))})
		if len(got) > len(in) {
			t.Fatal("more came out than went in")
		}
	})
}
