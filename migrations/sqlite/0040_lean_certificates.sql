-- Nobody looks for certificates by their token but fsck, which looks at all of them.
DROP INDEX certificate_token;
