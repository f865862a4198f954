# Prints, as lines of a deb822 source, where this machine has the main section of `suite` from and who signs it. Reads both
# formats of apt's sources: a stanza an entry (.sources), and a line an entry (.list).
function has(words, word) { return index(" " words " ", " " word " ") }
function end_stanza() {
    if (field["enabled"] !~ /no/ && has(field["types"], "deb") && has(field["components"], "main") && has(field["suites"], suite))
        found("URIs:" field["uris"], field["signed-by"])
    split("", field)
}
function found(uris, signed_by) {
    if (!done++) print uris (signed_by == "" ? "" : "\nSigned-By:" signed_by)
}
FNR == 1 || /^[ \t]*$/ { end_stanza() }
/^#/ { next }
FILENAME ~ /\.sources$/ {
    if (/^[ \t]/) field[name] = field[name] "\n" $0
    else if (colon = index($0, ":")) {
        name = tolower(substr($0, 1, colon - 1))
        field[name] = substr($0, colon + 1)
    }
    next
}
$1 == "deb" {
    signed_by = match($0, /signed-by=[^] ]+/) ? " " substr($0, RSTART + 10, RLENGTH - 10) : ""
    sub(/\[[^]]*\]/, "")
    if ($3 == suite && has($0, "main")) found("URIs: " $2, signed_by)
}
END { end_stanza() }
