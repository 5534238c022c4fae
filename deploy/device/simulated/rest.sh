# For the files beside it: calls of REST interfaces. Secrets go through standard input and files, not through the
# command line. $authorization is a file with the header that goes along, $base the address.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
authorization=$work/authorization
: >"$authorization"

# call METHOD PATH [BODY]: prints the answer; fails with it unless it is 2xx. $status is kept in a file.
call() {
    method=$1 path=$2
    shift 2
    code=$(printf '%s' "${1-}" | curl --silent --show-error --max-time 60 --request "$method" \
        --header "@$authorization" ${1+--header 'Content-Type: application/json' --data-binary @-} \
        --output "$work/answer" --write-out '%{http_code}' "$base$path")
    printf '%s' "$code" >"$work/status"
    case $code in
    2*) cat "$work/answer" ;;
    *)
        echo "$method $path: $code $(head -c 400 "$work/answer")" >&2
        return 1
        ;;
    esac
}

# bearer HEADER SCHEME TOKEN: what goes along from now on.
bearer() { printf '%s: %s %s\n' "$1" "$2" "$3" >"$authorization"; }

# wait_for PATH: until the service answers anything.
wait_for() {
    until curl --silent --max-time 5 --output /dev/null "$base$1"; do sleep 2; done
}
