package git

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

// maxReason is the longest reason for one ref, in bytes: git prints it on the line of the ref.
const maxReason = 300

// Refuse tells what was denied or held, where git shows it: a push as the report on its refs, with a line for people and
// one for programs; everything else as an ERR packet.
func (x *exchange) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	if d.Verdict != remit.Hold {
		x.drop(r.Context())
	} else {
		x.kept = remit.Digest{} // the order rests on it
	}
	human, why := change.Scrub(d.Sentence), reason(d.Code, d.Sentence)
	if human == "" {
		human = d.Code.Info().Meaning
	}
	if d.Verdict == remit.Hold {
		why = "HELD access request " + string(d.Access)
		human = fmt.Sprintf("held, waiting for people as access request %s: %s", d.Access, human)
	}
	if x.answersPush() {
		x.stream.drain(r)
		o := order{Commands: x.push.Commands}
		x.report(w, o.refusal(why), "remit: "+human+"\n"+machineLine(d, o.Commands)+"\n")
		return
	}
	x.errPacket(w, "remit: "+human+"\n"+machineLine(d, nil))
}

// machineLine is the stable line for programs: members in this order, values quoted where they hold more than a word.
func machineLine(d remit.Decision, commands []pktline.Command) string {
	b := "remit: code=" + word(string(d.Code))
	for _, rule := range d.Rules {
		b += " rule=" + word(rule)
	}
	b += " entry=" + strconv.FormatUint(uint64(d.Entry), 10)
	for _, c := range commands {
		b += " ref=" + word(c.Ref)
	}
	if d.Verdict == remit.Hold {
		b += fmt.Sprintf(" state=waiting access=%s do=\"remit wait %s\"", word(string(d.Access)), change.Scrub(string(d.Access)))
	}
	return b
}

// Fail tells an error in git's terms.
func (x *exchange) Fail(w http.ResponseWriter, r *http.Request, e *remit.Error) {
	if x.denied != nil {
		d := *x.denied
		x.denied = nil
		x.Refuse(w, r, d)
		return
	}
	x.drop(r.Context())
	if x.begun {
		return // the client has the beginning of an answer; it sees that the end is missing
	}
	sentence := change.Scrub(e.Sentence)
	line := "remit: code=" + word(string(e.Code))
	switch {
	case x.answersPush():
		x.stream.drain(r)
		o := order{Commands: x.push.Commands}
		for _, c := range o.Commands {
			line += " ref=" + word(c.Ref)
		}
		x.report(w, o.refusal(reason(e.Code, sentence)), "remit: "+sentence+"\n"+line+"\n")
	case x.route.lfs:
		lfsFailure(w, e.Code, sentence)
	case e.Code != remit.Unauthenticated && x.status == 0 && x.err == nil && x.route.service == uploadPack && !x.route.advert:
		// git shows the status of a failed fetch, but not the text; of an ERR packet it shows the text.
		x.stream.drain(r)
		x.errPacket(w, "remit: "+sentence+"\n"+line)
	default:
		if r.Body != nil && !x.route.advert {
			x.stream.drain(r)
		}
		x.plain(w, e.Code, "remit: "+sentence+"\n"+line+"\n")
	}
}

// plain answers with the status of a code and text, which git prints for info/refs.
func (x *exchange) plain(w http.ResponseWriter, code remit.Code, text string) {
	status := code.Info().HTTP
	if x.status != 0 {
		status = x.status
	}
	if status == http.StatusUnauthorized {
		// git asks its credential helper on this, and only for Basic.
		w.Header().Set("WWW-Authenticate", `Basic realm="Remit"`)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write([]byte(text))
}

// errPacket answers with an ERR packet (gitprotocol-pack(5)), which git prints as "remote error".
func (x *exchange) errPacket(w http.ResponseWriter, text string) {
	var b []byte
	kind := "result"
	if x.route.advert {
		kind = "advertisement"
		b = pktline.AppendFlush(pktline.Append(b, "# service="+x.route.service+"\n"))
	}
	x.head(w, "application/x-"+x.route.service+"-"+kind)
	x.stream.writer(w).Write(pktline.Append(b, "ERR "+text))
}

// answersPush tells whether a report can be sent: the commands were read, and nothing was answered yet.
func (x *exchange) answersPush() bool {
	return !x.begun && x.push != nil && len(x.push.Commands) > 0 && (x.push.Report || x.push.Sideband)
}

// report sends the report on a push as the client asked for it; said goes to people, on band 2.
func (x *exchange) report(w http.ResponseWriter, rep *pktline.Report, said string) {
	var b, text []byte
	if x.push.Report {
		text = rep.Append(nil, x.push.ReportV2)
	}
	if !x.push.Sideband {
		b = text
	} else {
		for line := range strings.Lines(said) {
			b = pktline.AppendBand(b, pktline.BandProgress, []byte(change.Scrub(strings.TrimRight(line, "\r\n"))+"\n"))
		}
		b = pktline.AppendFlush(pktline.AppendBand(b, pktline.BandData, text))
	}
	x.head(w, "application/x-"+receivePack+"-result")
	x.stream.writer(w).Write(b)
}

// lfsFailure answers git-lfs in its own JSON, whose message it prints.
func lfsFailure(w http.ResponseWriter, code remit.Code, sentence string) {
	body, err := json.Marshal(map[string]string{"message": sentence})
	if err != nil {
		body = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	w.WriteHeader(code.Info().HTTP)
	w.Write(body)
}

// reason is what git prints behind a refused ref.
func reason(code remit.Code, sentence string) string {
	if sentence == "" {
		sentence = code.Info().Meaning
	}
	return change.Clip(change.Scrub(sentence), maxReason) + " (" + string(code) + ")"
}

// word is s as a value of the machine line.
func word(s string) string {
	s = change.Scrub(s)
	if s == "" || strings.ContainsAny(s, " \"\\=") {
		return strconv.Quote(s)
	}
	return s
}
