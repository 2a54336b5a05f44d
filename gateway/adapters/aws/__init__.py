"""AWS behind the protocols of the floor above: S3, Batch, SQS, DynamoDB. Needs boto3 (the extra `aws`)."""
